"""The HTTP of Feast's feature server, so that its clients and its remote online store read from varv.

Source: the requests and answers of Feast 0.67's own server and clients. `reading` answers what is read, as a
function of bytes, on both ports; `writing` takes rows and requests to materialise, on the control port.
"""
