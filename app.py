"""Temper's web page: navigation only. `temper dashboard` opens it; the pages are in bench/dashboard."""

import streamlit as st

from bench.dashboard import leaderboard_page
from bench.dashboard.palette import favicon

st.set_page_config(page_title="Temper", page_icon=favicon(), layout="wide")
st.set_option("client.showErrorDetails", "none")  # what fails goes to the log, never to the reader as a traceback

PAGES = [st.Page(leaderboard_page.page, title="Leaderboard", icon=":material/leaderboard:", default=True)]

st.navigation(PAGES, position="top").run()
