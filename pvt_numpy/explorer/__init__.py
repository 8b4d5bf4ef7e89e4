"""The page on which a reader points at a picture and sees what that token attends to; this room draws what it is given.

page.py      `explore`: the facts around the numbers, and the insertion of everything into template.html
pack.py      q, k and features of one forward pass, rounded until they fit in a page, and how far rounding moves them
picture.py   the part of the picture that the model sees, in the picture's own resolution
template.html, style.css    the skeleton and the look

The page's own code, without any library; inserted in this order, each script may use those before it:
numbers.js     q and k become scores and shares
state.js       what the reader has chosen; everything is drawn from it
paint.js       values become colours and lit areas
views.js       the picture, the small maps, the words
arithmetic.js  one query, down to its products
facts.js       what stays the same while one looks
controls.js    pointer, keys and buttons
"""
