"""Device profiles: one TOML file per target and the schema they keep. Data only; `sharcs_edge.device` reads it."""
