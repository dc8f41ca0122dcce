"""The Open Inference Protocol over gRPC: the same requests and answers as over REST, by the same path.

Sources: the protocol's ``open_inference_grpc``, Triton's ``grpc_service``, gRPC's health checking and server
reflection.
"""
