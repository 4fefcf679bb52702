"""The register of legitimate uses: what industry declares of a substance, and what an analyst confirmed of it."""
