// From the disk a browser lets no page read another, so a search cannot quote what it finds.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// The digit page within the first page: as high as it is, and in the same colours. A browser that
// opens the site from the disk does not let one page look into another: then the style's height holds.
for (const frame of document.querySelectorAll("iframe.digit")) {
  const root = document.documentElement;
  const dress = () => {
    const inner = frame.contentDocument?.documentElement;
    if (!inner) return;
    inner.style.colorScheme = root.dataset.theme || "light dark";
    const fit = () => (frame.style.height = `${inner.querySelector("body").scrollHeight + 2}px`);
    new ResizeObserver(fit).observe(inner.querySelector("body"));
  };
  frame.addEventListener("load", dress);
  if (frame.contentDocument?.readyState === "complete") dress();
  new MutationObserver(dress).observe(root, { attributeFilter: ["data-theme"] });
}
