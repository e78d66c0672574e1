SELECT EXISTS (SELECT FROM pauses WHERE (scope, name) IN (('type', $1), ('queue', $2)))
