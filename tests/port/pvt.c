/* The Pyramid Vision Transformer in C99: the forward pass of the three toy models, from files to files.

       cc -std=c99 -O2 pvt.c -lm -o pvt
       python -m pvt_numpy.validate --dump numbers --toy v2 --raw
       mkdir out && ./pvt numbers out v2
       python -m pvt_numpy.validate --against out --toy v2

   It reads the parameters and the picture, computes in double, and writes every intermediate under its name. Maps and
   tokens have the channels last; N tokens of C channels are one array of N * C numbers, row by row over the map. The
   batch is one picture. Nothing is freed: the program ends when it is done. A page to read and a test, not a product.

   With -DTANH_GELU, -DVALUES_FIRST and the others below it makes a mistake that people make in a port. */

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGES = 2, HEIGHT = 39, WIDTH = 20, COLORS = 3, LABELS = 5, POOLED = 7, WIDER = 2, LENGTH = 1024 };
static const int CHANNELS[STAGES] = {6, 8}, HEADS[STAGES] = {1, 2}, STRIDE[STAGES] = {4, 2}, RATIO[STAGES] = {2, 1};
#ifdef ONE_EPS
static const double EPS = 1e-6, PATCH_EPS = 1e-6;
#else
static const double EPS = 1e-6, PATCH_EPS = 1e-5; /* the second in patch embeddings and in SRA */
#endif

typedef struct {
    const char *name;
    int v1, linear;                /* generation 1; linear SRA */
    int patch[STAGES];             /* side of the patches' kernels */
    int stored[STAGES][2];         /* v1: rows and columns that the position tables are for */
} Toy;

static const Toy TOYS[] = {
    {"v1", 1, 0, {4, 2}, {{11, 4}, {5, 2}}},
    {"v2", 0, 0, {7, 3}, {{0, 0}, {0, 0}}},
    {"v2_linear", 0, 1, {7, 3}, {{0, 0}, {0, 0}}},
};

typedef struct { int rows, columns; } Grid;

/* --- files --- */

static const char *from, *to; /* the folders */

static void fail(const char *what, const char *name) {
    fprintf(stderr, "pvt: error: %s: %s\n", name, what);
    exit(1);
}

static double *numbers(int count) {
    double *x = calloc((size_t)count, sizeof *x);
    if (!x) fail("no memory", "numbers");
    return x;
}

static void transfer(const char *folder, const char *name, const char *mode, double *x, int count) {
    char path[LENGTH];
    if (snprintf(path, sizeof path, "%s/%s.raw", folder, name) >= (int)sizeof path) fail("name too long", name);
    FILE *file = fopen(path, mode);
    if (!file) fail("cannot be opened", path);
    size_t done = *mode == 'r' ? fread(x, sizeof *x, (size_t)count, file) : fwrite(x, sizeof *x, (size_t)count, file);
    if (done != (size_t)count || fclose(file)) fail("is too short", path);
}

/* The parameter of that name, of `count` numbers; the name as for printf. */
static double *parameter(int count, const char *format, ...) {
    char name[LENGTH];
    va_list rest;
    va_start(rest, format);
    if (vsnprintf(name, sizeof name, format, rest) >= (int)sizeof name) fail("name too long", name);
    va_end(rest);
    double *x = numbers(count);
    transfer(from, name, "rb", x, count);
    return x;
}

/* Writes an intermediate and hands it on. */
static double *note(double *x, int count, const char *format, ...) {
    char name[LENGTH];
    va_list rest;
    va_start(rest, format);
    if (vsnprintf(name, sizeof name, format, rest) >= (int)sizeof name) fail("name too long", name);
    va_end(rest);
    transfer(to, name, "wb", x, count);
    return x;
}

/* --- layers --- */

/* y = x Wᵀ + b: x (n, in), W (out, in) -> (n, out) */
static double *linear(const double *x, int n, int in, int out, const double *weight, const double *bias) {
    double *y = numbers(n * out);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < out; o++) {
            double sum = bias[o];
            for (int c = 0; c < in; c++) sum += x[i * in + c] * weight[o * in + c];
            y[i * out + o] = sum;
        }
    return y;
}

static double *linear_of(const double *x, int n, int in, int out, const char *place, const char *name) {
    const double *weight = parameter(out * in, "%s%s.weight", place, name);
    return linear(x, n, in, out, weight, parameter(out, "%s%s.bias", place, name));
}

/* (x - mean) / sqrt(variance + eps) * weight + bias, token by token; the variance in two passes, over C */
static double *layer_norm(const double *x, int n, int C, const char *place, const char *name, double eps) {
    const double *weight = parameter(C, "%s%s.weight", place, name), *bias = parameter(C, "%s%s.bias", place, name);
    double *y = numbers(n * C);
    for (int i = 0; i < n; i++) {
        const double *token = x + i * C;
        double mean = 0, variance = 0;
        for (int c = 0; c < C; c++) mean += token[c] / C;
        for (int c = 0; c < C; c++) variance += (token[c] - mean) * (token[c] - mean) / C;
        for (int c = 0; c < C; c++) y[i * C + c] = (token[c] - mean) / sqrt(variance + eps) * weight[c] + bias[c];
    }
    return y;
}

static double *gelu(const double *x, int count) {
    double *y = numbers(count);
    for (int i = 0; i < count; i++)
#ifdef TANH_GELU
        y[i] = 0.5 * x[i] * (1 + tanh(0.7978845608028654 * (x[i] + 0.044715 * x[i] * x[i] * x[i])));
#else
        y[i] = 0.5 * x[i] * (1 + erf(x[i] * 0.7071067811865476)); /* x / sqrt(2) */
#endif
    return y;
}

/* Convolution of the map x (rows, columns, C) with kernels (out, C, k, k) -> (rows', columns', out), and its grid */
static double *convolution(const double *x, Grid *grid, int C, int out, int k, int stride, int padding,
                           const char *place, const char *name) {
    const double *weight = parameter(out * C * k * k, "%s%s.weight", place, name);
    const double *bias = parameter(out, "%s%s.bias", place, name);
    Grid new = {(grid->rows + 2 * padding - k) / stride + 1, (grid->columns + 2 * padding - k) / stride + 1};
    int above = padding, left = padding;
#ifdef SAME_PADDING
    if (padding) { /* uneven: the smaller half in front */
        above = ((new.rows - 1) * stride + k - grid->rows) / 2;
        left = ((new.columns - 1) * stride + k - grid->columns) / 2;
    }
#endif
    double *y = numbers(new.rows * new.columns * out);
    for (int i = 0; i < new.rows; i++)
        for (int j = 0; j < new.columns; j++)
            for (int o = 0; o < out; o++) {
                double sum = bias[o];
                for (int a = 0; a < k; a++)
                    for (int b = 0; b < k; b++) {
                        int row = i * stride + a - above, column = j * stride + b - left;
                        if (row < 0 || row >= grid->rows || column < 0 || column >= grid->columns) continue;
                        for (int c = 0; c < C; c++)
#ifdef KERNEL_LAYOUT
                            sum += x[(row * grid->columns + column) * C + c] * weight[((o * k + a) * k + b) * C + c];
#else
                            sum += x[(row * grid->columns + column) * C + c] * weight[((o * C + c) * k + a) * k + b];
#endif
                    }
                y[(i * new.columns + j) * out + o] = sum;
            }
    *grid = new;
    return y;
}

/* Each channel by itself with its own 3 x 3 kernel, zeros around the map */
static double *depthwise(const double *x, Grid grid, int C, const char *place) {
    const double *weight = parameter(C * 9, "%smlp.dwconv.weight", place);
    const double *bias = parameter(C, "%smlp.dwconv.bias", place);
    double *y = numbers(grid.rows * grid.columns * C);
    for (int i = 0; i < grid.rows; i++)
        for (int j = 0; j < grid.columns; j++)
            for (int c = 0; c < C; c++) {
                double sum = bias[c];
                for (int a = -1; a <= 1; a++)
                    for (int b = -1; b <= 1; b++)
                        if (i + a >= 0 && i + a < grid.rows && j + b >= 0 && j + b < grid.columns)
                            sum += x[((i + a) * grid.columns + j + b) * C + c] * weight[c * 9 + (a + 1) * 3 + b + 1];
                y[(i * grid.columns + j) * C + c] = sum;
            }
    return y;
}

/* The map averaged in 7 x 7 bins: bin i from floor(i n / 7) to ceil((i + 1) n / 7), so that they may overlap */
static double *pool(const double *x, Grid grid, int C) {
    double *y = numbers(POOLED * POOLED * C);
    for (int i = 0; i < POOLED; i++)
        for (int j = 0; j < POOLED; j++) {
            int top = i * grid.rows / POOLED, bottom = ((i + 1) * grid.rows + POOLED - 1) / POOLED;
            int left = j * grid.columns / POOLED, right = ((j + 1) * grid.columns + POOLED - 1) / POOLED;
#ifdef FLOOR_BINS
            bottom = (i + 1) * grid.rows / POOLED > top ? (i + 1) * grid.rows / POOLED : top + 1;
            right = (j + 1) * grid.columns / POOLED > left ? (j + 1) * grid.columns / POOLED : left + 1;
#endif
            for (int c = 0; c < C; c++) {
                double sum = 0;
                for (int row = top; row < bottom; row++)
                    for (int column = left; column < right; column++) sum += x[(row * grid.columns + column) * C + c];
                y[(i * POOLED + j) * C + c] = sum / ((bottom - top) * (right - left));
            }
        }
    return y;
}

/* One row or column of a new grid of m as a mixture of two of n: the first of them, and the share of the second.
   Places are the centres of equal cells; beyond the first and the last the edge repeats. No antialiasing. */
static int mixture(int i, int m, int n, double *share) {
#ifdef ALIGNED_CORNERS
    double place = m > 1 ? (double)i * (n - 1) / (m - 1) : 0;
#else
    double place = (i + 0.5) * n / m - 0.5;
#endif
    if (place < 0) place = 0;
    if (place > n - 1) place = n - 1;
    int first = (int)place;
    *share = place - first;
    return first;
}

/* The table (rows * columns, C) of the stored grid on another one */
static double *resize(const double *x, int rows, int columns, Grid grid, int C) {
    double *y = numbers(grid.rows * grid.columns * C);
    for (int i = 0; i < grid.rows; i++)
        for (int j = 0; j < grid.columns; j++) {
            double down, right;
            int a = mixture(i, grid.rows, rows, &down), b = mixture(j, grid.columns, columns, &right);
            int below = a + 1 < rows ? a + 1 : a, beside = b + 1 < columns ? b + 1 : b;
            for (int c = 0; c < C; c++) {
                const double *top = x + a * columns * C + c, *low = x + below * columns * C + c;
                y[(i * grid.columns + j) * C + c] = (1 - down) * ((1 - right) * top[b * C] + right * top[beside * C]) +
                                                    down * ((1 - right) * low[b * C] + right * low[beside * C]);
            }
        }
    return y;
}

/* (N, heads * d) -> (heads, N, d) */
static double *split(const double *x, int N, int row, int heads, int d) {
    double *y = numbers(heads * N * d);
    for (int h = 0; h < heads; h++)
        for (int n = 0; n < N; n++) memcpy(y + (h * N + n) * d, x + n * row + h * d, (size_t)d * sizeof *x);
    return y;
}

/* Softmax(q kᵀ / sqrt(d)) v for each head: queries from x (N, C), keys and values from a shorter sequence */
static double *attention(double *x, int N, Grid grid, int C, int heads, int R, int pooled, const char *place) {
    double *reduced = x;
    int M = N, d = C / heads;
    if (pooled) {
        Grid bins = {POOLED, POOLED};
        M = POOLED * POOLED;
        reduced = convolution(pool(x, grid, C), &bins, C, C, 1, 1, 0, place, "attn.sr");
        reduced = gelu(layer_norm(reduced, M, C, place, "attn.norm", PATCH_EPS), M * C);
    } else if (R > 1) {
        reduced = convolution(x, &grid, C, C, R, R, 0, place, "attn.sr");
        M = grid.rows * grid.columns;
        reduced = layer_norm(reduced, M, C, place, "attn.norm", PATCH_EPS);
    }
    note(reduced, M * C, "%sattn.reduced", place);
    double *both = linear_of(reduced, M, C, 2 * C, place, "attn.kv"); /* (M, 2 C): keys first */
    double *q = split(linear_of(x, N, C, C, place, "attn.q"), N, C, heads, d);
#ifdef VALUES_FIRST
    double *k = split(both + C, M, 2 * C, heads, d), *v = split(both, M, 2 * C, heads, d);
#else
    double *k = split(both, M, 2 * C, heads, d), *v = split(both + C, M, 2 * C, heads, d);
#endif
    double *scores = numbers(heads * N * M), *probs = numbers(heads * N * M), *merged = numbers(N * C);
    for (int h = 0; h < heads; h++)
        for (int n = 0; n < N; n++) {
            double *s = scores + (h * N + n) * M, *p = probs + (h * N + n) * M, largest = -HUGE_VAL, sum = 0;
            for (int m = 0; m < M; m++) {
                for (int c = 0; c < d; c++) s[m] += q[(h * N + n) * d + c] * k[(h * M + m) * d + c];
                s[m] /= sqrt(d);
                if (s[m] > largest) largest = s[m];
            }
            for (int m = 0; m < M; m++) sum += p[m] = exp(s[m] - largest);
            for (int m = 0; m < M; m++) {
                p[m] /= sum;
                for (int c = 0; c < d; c++) merged[n * C + h * d + c] += p[m] * v[(h * M + m) * d + c];
            }
        }
    note(q, N * C, "%sattn.q", place);
    note(k, M * C, "%sattn.k", place);
    note(v, M * C, "%sattn.v", place);
    note(scores, heads * N * M, "%sattn.scores", place);
    note(probs, heads * N * M, "%sattn.probs", place);
    return linear_of(merged, N, C, C, place, "attn.proj");
}

/* fc2(GELU(fc1(x))); in v2 a depthwise convolution stands before GELU, in its linear form ReLU before that */
static double *mlp(const double *x, int N, Grid grid, int C, const Toy *toy, const char *place) {
    int hidden = WIDER * C;
    double *wide = note(linear_of(x, N, C, hidden, place, "mlp.fc1"), N * hidden, "%smlp.fc1", place);
    if (toy->linear)
        for (int i = 0; i < N * hidden; i++) wide[i] = wide[i] > 0 ? wide[i] : 0;
    if (!toy->v1) wide = note(depthwise(wide, grid, hidden, place), N * hidden, "%smlp.dwconv", place);
    double *active = note(gelu(wide, N * hidden), N * hidden, "%smlp.act", place);
    return linear_of(active, N, hidden, C, place, "mlp.fc2");
}

static double *sum(const double *x, const double *y, int count) {
    double *z = numbers(count);
    for (int i = 0; i < count; i++) z[i] = x[i] + y[i];
    return z;
}

static double *block(double *x, int N, Grid grid, int C, int i, const Toy *toy, const char *place) {
    double *y = note(layer_norm(x, N, C, place, "norm1", EPS), N * C, "%snorm1", place);
    y = note(attention(y, N, grid, C, HEADS[i], RATIO[i], toy->linear, place), N * C, "%sattn", place);
    x = note(sum(x, y, N * C), N * C, "%sresidual1", place);
    y = note(layer_norm(x, N, C, place, "norm2", EPS), N * C, "%snorm2", place);
    y = note(mlp(y, N, grid, C, toy, place), N * C, "%smlp", place);
    return sum(x, y, N * C);
}

/* The map as (C, rows, columns), as files have it */
static double *channels_first(const double *x, Grid grid, int C) {
    int N = grid.rows * grid.columns;
    double *y = numbers(N * C);
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++) y[c * N + n] = x[n * C + c];
    return y;
}

/* v1: the position table is added; in the last stage a class token, with the table's first row, comes first */
static double *add_positions(const double *x, Grid grid, int C, int i, const Toy *toy) {
    const int *stored = toy->stored[i];
    int N = grid.rows * grid.columns, first = i == STAGES - 1;
    const double *table = parameter((first + stored[0] * stored[1]) * C, "stages.%d.pos_embed", i);
    double *y = numbers((first + N) * C), *resized = resize(table + first * C, stored[0], stored[1], grid, C);
    for (int k = 0; k < N * C; k++) y[first * C + k] = x[k] + resized[k];
    if (first) {
        const double *token = parameter(C, "stages.%d.cls_token", i);
        for (int c = 0; c < C; c++) y[c] = token[c] + table[c];
    }
    return y;
}

/* One level of the pyramid: a smaller grid of wider tokens, then a block. Returns the tokens; *map lies in them */
static double *stage(double *x, Grid *grid, int in, int i, const Toy *toy, int *tokens, double **map) {
    int C = CHANNELS[i], k = toy->patch[i];
    char place[LENGTH];
    snprintf(place, sizeof place, "stages.%d.", i);
    x = convolution(x, grid, in, C, k, STRIDE[i], toy->v1 ? 0 : k / 2, place, "patch_embed.proj");
    int N = grid->rows * grid->columns;
    x = note(layer_norm(x, N, C, place, "patch_embed.norm", PATCH_EPS), N * C, "stages.%d.patch_embed", i);
    if (toy->v1) x = add_positions(x, *grid, C, i, toy);
    *tokens = N + (toy->v1 && i == STAGES - 1);
    note(x, *tokens * C, "stages.%d.tokens", i);
    snprintf(place, sizeof place, "stages.%d.blocks.0.", i);
    x = note(block(x, *tokens, *grid, C, i, toy, place), *tokens * C, "stages.%d.blocks.0", i);
    snprintf(place, sizeof place, "stages.%d.", i);
    if (!toy->v1) x = note(layer_norm(x, N, C, place, "norm", EPS), N * C, "stages.%d.norm", i);
    *map = x + (*tokens - N) * C;
    note(channels_first(*map, *grid, C), N * C, "stages.%d", i);
    return x;
}

int main(int count, char **words) {
    const Toy *toy = TOYS;
    while (count == 4 && strcmp(toy->name, words[3]))
        if (++toy == TOYS + sizeof TOYS / sizeof *TOYS) fail("is no toy", words[3]);
    if (count != 4) fail("expected FROM TO TOY", "arguments");
    from = words[1], to = words[2];

    Grid grid = {HEIGHT, WIDTH};
    const double *picture = parameter(COLORS * HEIGHT * WIDTH, "pixel_values");
    double *map = numbers(COLORS * HEIGHT * WIDTH), *x = map;
    for (int n = 0; n < HEIGHT * WIDTH; n++)
        for (int c = 0; c < COLORS; c++) map[n * COLORS + c] = picture[c * HEIGHT * WIDTH + n];
    int in = COLORS, N = 0;
    for (int i = 0; i < STAGES; in = CHANNELS[i++]) x = stage(map, &grid, in, i, toy, &N, &map);

    double *pooled = numbers(in); /* v1: the class token, normalised; v2: the mean of the tokens */
    if (toy->v1) memcpy(pooled, note(layer_norm(x, N, in, "", "norm", EPS), N * in, "norm"), (size_t)in * sizeof *x);
    else
        for (int n = 0; n < N; n++)
            for (int c = 0; c < in; c++) pooled[c] += x[n * in + c] / N;
    note(pooled, in, "pooled");
    note(linear_of(pooled, 1, in, LABELS, "", "head"), LABELS, "logits");
    return 0;
}
