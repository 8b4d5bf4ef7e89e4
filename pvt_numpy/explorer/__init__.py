"""The explorer: one self-contained HTML page in which a reader points at a photo and sees what that token attends to.

pack.py      q, k and features of one forward pass, rounded until they fit in a page, and how far rounding moves them
picture.py   the part of the photo that the model sees, in the photo's own resolution
page.py      the facts around the numbers, and the insertion of everything into template.html
template.html, style.css    the skeleton and the look

The page's own code, in this order and without any library:
numbers.js   q and k become scores and shares            arithmetic.js  one query, down to its products
paint.js     values become colours and lit areas         facts.js       what stays the same while one looks
views.js     the photos, the small pictures, the words   controls.js    pointer, keys and buttons
"""
