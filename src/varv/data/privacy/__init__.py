"""Personal data: what is done to it before anything is written (`minimising`, `encrypting`), where it may be
without anybody having said so (`detection`), and how well rows hide among others (`anonymity`).
"""

from varv.data.privacy.minimising import Drop, Encrypt, Generalise, Pseudonymise, Treatment

__all__ = ["Drop", "Encrypt", "Generalise", "Pseudonymise", "Treatment"]
