// A classic script that runs before the first paint, so that the page does not flash in the wrong theme.
try {
  const theme = localStorage.getItem('console-theme')
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme
} catch {
  // Without local storage, the theme is the system's.
}
