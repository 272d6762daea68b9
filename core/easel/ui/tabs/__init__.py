"""The tabs of the page, one module each: `TITLE`, and `build(page)`, called inside the tab. See `easel.ui.page`."""
