"""The booking CRM (YClients, sold abroad as Altegio with the same API): `client` has the calls, `door` serves code that is not asynchronous."""
