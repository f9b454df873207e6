"""What libxl does to domains: one module for each capability."""
