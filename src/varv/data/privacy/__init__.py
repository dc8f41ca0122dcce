"""Personal data: what is done to it before anything is written (`minimising`), where it may be without
anybody having said so (`detection`), and how well rows hide among others (`anonymity`).
"""

from varv.data.privacy.minimising import Drop, Generalise, Pseudonymise, Treatment

__all__ = ["Drop", "Generalise", "Pseudonymise", "Treatment"]
