// A plain script, so that it runs before anything is painted: the page never flashes in the wrong theme.
try {
  const theme = localStorage.getItem('console-theme')
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme
} catch {
  // A browser that keeps nothing for this page: it follows the system.
}
