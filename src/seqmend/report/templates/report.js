
"use strict";
// One tooltip for every mark that has something to tell; its text is only ever set as text.
const tip = document.getElementById("tip");
const show = (event) => {
  const mark = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  const box = tip.getBoundingClientRect(), gap = 14;
  const right = document.documentElement.clientWidth - box.width - 8;
  tip.style.left = `${Math.max(8, Math.min(event.clientX + gap, right))}px`;
  tip.style.top = `${event.clientY + gap + box.height > innerHeight ? event.clientY - gap - box.height : event.clientY + gap}px`;
};
document.addEventListener("pointermove", show, { passive: true });
document.addEventListener("pointerdown", show, { passive: true });
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
for (const table of document.querySelectorAll(".scroll")) {
  if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
}
// On paper everything is open.
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
