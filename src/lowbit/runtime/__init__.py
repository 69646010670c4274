"""Run `.lowbit` programs: `load` for the fast engine, `reference` for the normative interpreter."""
