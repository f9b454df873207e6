"""Operations on domains through libxl, one module per capability."""
