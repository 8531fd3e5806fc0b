#!/usr/bin/env python3
"""Signs in at the dashboard with a real browser, waits for live data, and takes a screenshot.

Usage: dashboard.py CLOUDS_YAML PICTURE.png NODE...
Exits with 0 when the page shows every node as active with a load figure; the last line tells what it saw.
"""
import sys
import time
from urllib.parse import urlsplit

import yaml
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

SECONDS_MAX = 90


def main() -> int:
    clouds, picture, *nodes = sys.argv[1:]
    with open(clouds, encoding="utf-8") as file:
        cloud = yaml.safe_load(file)["clouds"]["rdo"]
    address = urlsplit(cloud["auth"]["auth_url"])

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"):
        options.add_argument(argument)
    # The certificate is of the installation's own authority, which this browser does not know.
    options.accept_insecure_certs = True
    service = Service(executable_path="/usr/bin/chromedriver")
    browser = webdriver.Chrome(options=options, service=service)
    try:
        browser.get(f"https://{address.netloc}/dashboard")
        browser.find_element(By.ID, "password").send_keys(cloud["auth"]["password"])
        browser.find_element(By.CSS_SELECTOR, "main form button").click()
        missing = list(nodes)
        limit = time.monotonic() + SECONDS_MAX
        while missing and time.monotonic() < limit:
            rows = [
                [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
                for row in browser.find_elements(By.CSS_SELECTOR, "#live table:first-of-type tbody tr")
            ] if browser.find_elements(By.ID, "live") else []
            shown = {
                row[0].split()[0]
                for row in rows
                if len(row) == 9 and row[1] == "active" and row[6] not in ("", "–")
            }
            missing = [node for node in nodes if node not in shown]
            time.sleep(0.5)
        live = browser.find_element(By.ID, "link").text if browser.find_elements(By.ID, "link") else ""
        browser.save_screenshot(picture)
        scripts = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        browser.quit()
    print(f"missing={missing} live={live!r} console={scripts}")
    return 0 if not missing and live.startswith("Live") and not scripts else 1


if __name__ == "__main__":
    sys.exit(main())
