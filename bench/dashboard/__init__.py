"""The web page: `*_page` draw with Streamlit; `figures`, `findings` and `tables` are pure functions of a board."""
