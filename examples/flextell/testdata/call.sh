curl --request GET \
  --url https://dev.flextell.ai/api/<endpoint> \
  --header "Authorization: Bearer YOUR_ACCESS_TOKEN" \
  --header "Accept: application/json"
