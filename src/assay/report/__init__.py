"""What people read: `page.write` makes one HTML file, `table` prints to the terminal; both know only the dicts of the JSON promise."""
