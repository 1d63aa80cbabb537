// Owns light and dark: what the system says, until the reader chose. A classic script, so that no page is ever drawn in
// the wrong colours first.
(() => {
  const KEY = "importer-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage can be forbidden; the switch then holds until the page is left
    }
  }

  let chosen = stored();

  function draw() {
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = isDark() ? "Light colours" : "Dark colours";
  }

  function isDark() {
    return chosen ? chosen === "dark" : system.matches;
  }

  function turn() {
    const wanted = isDark() ? "light" : "dark";
    chosen = (wanted === "dark") === system.matches ? null : wanted;
    try {
      if (chosen) localStorage.setItem(KEY, chosen);
      else localStorage.removeItem(KEY);
    } catch {
      // as above
    }
    draw();
  }

  draw();
  system.addEventListener("change", draw);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", turn);
    draw();
  });
})();
