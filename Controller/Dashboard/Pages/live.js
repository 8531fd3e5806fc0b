// Replaces the page's tables with what the server rendered anew. The server escapes everything.
"use strict";
const live = document.getElementById("live");
const link = document.getElementById("link");
const source = new EventSource("/dashboard/live");
source.addEventListener("page", (event) => {
  live.innerHTML = JSON.parse(event.data);
  link.textContent = "Live, last change " + new Date().toLocaleTimeString();
});
source.addEventListener("open", () => { link.textContent = "Live"; });
source.addEventListener("error", () => {
  link.textContent = source.readyState === EventSource.CLOSED
    ? "Not connected: sign in again" : "Connection lost, trying again…";
});
