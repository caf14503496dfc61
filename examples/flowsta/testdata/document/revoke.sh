curl -i -X POST $B/oauth/revoke -H 'Content-Type: application/json' -H 'X-Client-Id: flowsta_app_abc123' -d '{"token":"'$RT'","token_type_hint":"refresh_token"}'
