// A table that is cut says so, also when the window or what is opened on the page changes its width.
function tellCut(box) {
  const wide = box.scrollWidth > box.clientWidth + 1, tall = box.scrollHeight > box.clientHeight + 1;
  const more = [wide && "more columns → scroll sideways", tall && "more rows ↓ scroll down"].filter(Boolean);
  box.previousElementSibling.textContent = more.join("; ");
  box.previousElementSibling.hidden = !more.length;
}
const watched = new ResizeObserver(entries => entries.forEach(entry => tellCut(entry.target.closest(".scroll"))));
for (const box of document.querySelectorAll(".scroll")) {
  box.insertAdjacentHTML("beforebegin", '<p class="cut" hidden></p>');
  watched.observe(box);
  watched.observe(box.querySelector("table"));
}

// Commands go to the clipboard; where a browser denies that to a file, they are selected, ready for Ctrl-C.
for (const button of document.querySelectorAll(".commands button")) {
  const box = button.closest(".commands"), said = box.querySelector("output");
  button.addEventListener("click", async () => {
    const text = [...box.querySelectorAll("code")].map(line => line.textContent).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(box.querySelector("pre"));
      said.textContent = "selected: press Ctrl-C";
    }
  });
}
