SELECT * FROM pauses ORDER BY at DESC, scope, name
