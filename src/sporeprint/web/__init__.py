"""The parts of every page: words, style, macros, pictures and charts. Values go in, markup comes out."""
