curl --location --request POST '{{server_url}}/api/auth/v1/oauth/token?grant_type=client_credentials' \
--header 'Authorization: Basic {{base64_encoded_credentials}}'

curl --location '{{server_url}}/api/checkout/v1/orders' \
--header 'Content-Type: application/json' \
--header 'Accept: application/json' \
--header 'Authorization: Bearer {{token}}' \
--data-raw '{{json}}'
