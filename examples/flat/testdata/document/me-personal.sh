curl -H 'Authorization: Bearer <my_api_personal_access_token>' https://api.flat.io/v2/me
