"""The explorer: one self-contained HTML page in which a reader points at a photo and sees what that token attends to.

pack.py      q, k and features of one forward pass, rounded until they fit in a page, and how far rounding moves them
picture.py   the part of the photo that the model sees, in the photo's own resolution
page.py      the facts around the numbers, and the insertion of everything into template.html
style.css    the look;  template.html  the skeleton
numbers.js, paint.js, views.js, arithmetic.js, facts.js, controls.js    the page's own code, in this order, without any library
"""
