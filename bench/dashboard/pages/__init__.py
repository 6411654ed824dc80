"""The pages: each module has `blocks`, a pure function that says what is on the page, and `page`, which lets the reader
choose and draws them."""
