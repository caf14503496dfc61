curl -H 'Authorization: Bearer <access-token>' https://api.flat.io/v2/me
