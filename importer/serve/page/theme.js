// Switches between light and dark: follows the system until the user chooses. A classic script, because a module would
// run only after the page was first drawn, perhaps in the wrong colours.
(() => {
  const KEY = "importer-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be blocked; the choice then lasts until the page is left
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
