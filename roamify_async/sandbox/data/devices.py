"""The devices that support eSIMs."""

from typing import Final

# Brand, operating system, device type, and series: a name, followed by a colon and the models if they differ from it.
_LISTING: Final = (
    (
        "Apple", "ios", "smartphone",
        (
            "iPhone XR; iPhone XS series: iPhone XS / iPhone XS Max;"
            "iPhone SE (2nd generation); iPhone SE (3rd generation);"
            "iPhone 11 series: iPhone 11 / iPhone 11 Pro / iPhone 11 Pro Max;"
            "iPhone 12 series: iPhone 12 mini / iPhone 12 / iPhone 12 Pro / iPhone 12 Pro Max;"
            "iPhone 13 series: iPhone 13 mini / iPhone 13 / iPhone 13 Pro / iPhone 13 Pro Max;"
            "iPhone 14 series: iPhone 14 / iPhone 14 Plus / iPhone 14 Pro / iPhone 14 Pro Max;"
            "iPhone 15 series: iPhone 15 / iPhone 15 Plus / iPhone 15 Pro / iPhone 15 Pro Max;"
            "iPhone 16 series: iPhone 16 / iPhone 16 Plus / iPhone 16 Pro / iPhone 16 Pro Max; iPhone 16e"
        ),
    ),
    (
        "Apple", "ios", "tablet",
        (
            "iPad (7th generation); iPad (8th generation); iPad (9th generation); iPad (10th generation);"
            "iPad mini (5th generation); iPad mini (6th generation); iPad Air (3rd generation);"
            "iPad Air (4th generation); iPad Air (5th generation);"
            "iPad Pro 11: iPad Pro 11 (1st generation) / iPad Pro 11 (2nd generation)"
        ),
    ),
    ("Apple", "watchos", "watch", "Watch Series 7; Watch Series 8; Watch Series 9; Watch Ultra"),
    (
        "Samsung", "android", "smartphone",
        (
            "Galaxy S20 series: Galaxy S20 / Galaxy S20+ / Galaxy S20 Ultra;"
            "Galaxy S21 series: Galaxy S21 5G / Galaxy S21+ 5G / Galaxy S21 Ultra 5G;"
            "Galaxy S22 series: Galaxy S22 / Galaxy S22+ / Galaxy S22 Ultra;"
            "Galaxy S23 series: Galaxy S23 / Galaxy S23+ / Galaxy S23 Ultra / Galaxy S23 FE;"
            "Galaxy S24 series: Galaxy S24 / Galaxy S24+ / Galaxy S24 Ultra;"
            "Galaxy Note20 series: Galaxy Note20 / Galaxy Note20 Ultra;"
            "Galaxy Z Flip3 5G; Galaxy Z Flip4; Galaxy Z Flip5; Galaxy Z Fold3 5G; Galaxy Z Fold4; Galaxy Z Fold5;"
            "Galaxy A54 5G; Galaxy A55 5G"
        ),
    ),
    (
        "Google", "android", "smartphone",
        (
            "Pixel 3 series: Pixel 3 / Pixel 3 XL; Pixel 3a series: Pixel 3a / Pixel 3a XL;"
            "Pixel 4 series: Pixel 4 / Pixel 4 XL; Pixel 4a; Pixel 5; Pixel 5a; Pixel 6 series: Pixel 6 / Pixel 6 Pro;"
            "Pixel 6a; Pixel 7 series: Pixel 7 / Pixel 7 Pro; Pixel 7a; Pixel 8 series: Pixel 8 / Pixel 8 Pro;"
            "Pixel 8a; Pixel Fold"
        ),
    ),
    ("Motorola", "android", "smartphone", "Razr 2019; Razr 5G; Razr 40 Ultra; Edge 40; Edge 40 Pro; Edge+ 2023"),
    ("Xiaomi", "android", "smartphone", "12T Pro; 13 series: 13 / 13 Lite / 13 Pro; 14 series: 14 / 14 Pro; 14T Pro"),
    ("OPPO", "android", "smartphone", "Find X3 Pro; Find X5 series: Find X5 / Find X5 Pro; Find N2 Flip; Reno6 Pro 5G"),
    ("Huawei", "harmonyos", "smartphone", "P40 series: P40 / P40 Pro; Mate 40 Pro"),
    ("Sony", "android", "smartphone", "Xperia 1 IV; Xperia 5 IV; Xperia 10 III Lite; Xperia 10 IV"),
    ("Microsoft", "windows", "laptop", "Surface Pro X; Surface Pro 9 5G; Surface Duo 2"),
)  # fmt: skip


def _devices() -> list[dict[str, str]]:
    devices: list[dict[str, str]] = []
    for brand, os, kind, series in _LISTING:
        for entry in series.split(";"):
            name, _, model = entry.strip().partition(": ")
            devices.append({"model": model or name, "deviceType": kind, "os": os, "brand": brand, "name": name})
    return devices


DEVICES: Final = _devices()
"""Every compatible device, as the API lists it."""
