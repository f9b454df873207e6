// What the theme leaves out for users of keyboards and screen readers.
addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) caption.setAttribute("aria-level", "2");
  for (const word of document.querySelectorAll("article code .pre")) {
    if (word.textContent.length < 25) word.style.whiteSpace = "nowrap";     // an option is not broken after its dashes
  }
  for (const box of document.querySelectorAll("pre, .table-wrapper")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
