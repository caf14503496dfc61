curl -i $B/oauth/userinfo -H "Authorization: Bearer $AT"
