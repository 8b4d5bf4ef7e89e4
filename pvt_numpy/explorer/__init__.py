"""The page on which a reader points at a picture and sees what that token attends to; this room draws what it is given.

page.py      `explore`: the facts around the numbers, and the insertion of everything into template.html
pack.py      q, k and features of one forward pass, rounded until they fit in a page, and how far rounding moves them
picture.py   the part of the picture that the model sees, in the picture's own resolution
template.html, style.css    the skeleton and the look

The page's own code, without any library; inserted in this order, each script may use those before it, and when it is
called any other:
numbers.js     q and k become scores and shares
state.js       what the reader has chosen: everything is drawn from it, and the address is made of it
words.js       text and numbers, as they are written
paint.js       values become colours and lit squares
picture.js     the picture, lit where the query reads
heads.js       the small maps
map.js         the way from the picture to the formula
onward.js      what follows the probabilities, down to the next block
arithmetic.js  one query, down to its products
facts.js       what stays the same while one looks
save.js        a view as a PNG and as a line of Python
tour.js        the tour
controls.js    pointer, keys and buttons
"""
