"""`yumad simulate`: scenarios run through the rules without a network (DESIGN 1, "researcher")."""
