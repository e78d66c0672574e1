INSERT INTO audit (actor, tenant, action, target, detail) VALUES ($1, $2, $3, $4, $5)
