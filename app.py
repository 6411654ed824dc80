"""Temper's web page: navigation only. `temper dashboard` opens it; the pages are in bench/dashboard."""

import streamlit as st

from bench.dashboard.navigation import run
from bench.dashboard.palette import favicon
from bench.dashboard.table import asset

st.set_page_config(page_title="Temper", page_icon=favicon(), layout="wide")
st.set_option("client.showErrorDetails", "none")  # what fails goes to the log, never to the reader as a traceback

st.html(f"<style>{asset('page.css')}</style>")

run()
