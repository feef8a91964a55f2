"""Networks: proving them, and looking into them."""
