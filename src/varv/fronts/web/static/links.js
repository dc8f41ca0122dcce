"use strict";
// Links of MLflow's pages, which its clients print, have their path behind a #, which no server sees.
{
  const follow = () => {
    const [path, query] = location.hash.slice(1).split("?");
    const ids = new URLSearchParams(query).get("runs");
    const runs = path === "/compare-runs" && ids ? JSON.parse(ids).map((id) => `runs=${encodeURIComponent(id)}`) : [];
    const to =
      path.match(/^\/experiments\/[^/]+(\/runs\/[^/]+)/)?.[1] ??
      path.match(/^\/experiments\/[^/]+/)?.[0] ??
      path.match(/^\/models\/[^/]+(\/versions\/\d+)?/)?.[0] ??
      (runs.length ? `/compare?${runs.join("&")}` : "");
    if (to) location.replace(location.origin + to);
  };
  addEventListener("hashchange", follow);
  follow();
}
