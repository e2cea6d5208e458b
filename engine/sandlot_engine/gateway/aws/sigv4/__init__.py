"""Who signed this request: AWS Signature Version 4, in a header or a presigned URL.

Pure, and in two steps, so that nobody's body is taken in before there is a reason to:

    claim = read_claim(method, path, query, headers, now=now, is_private=…)  # its head
    claim.check(secret, body_sha256=…)                                       # its body

What AWS says on each mistake is said here in the same words, save that no credential is
ever repeated.

A hash of the body may be declared (`x-amz-content-sha256`). `UNSIGNED-PAYLOAD` is good
only where nobody can have changed the body on its way: over loopback or TLS.
"""
