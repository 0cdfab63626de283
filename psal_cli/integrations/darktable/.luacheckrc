std = "lua53"
max_line_length = 130
