// @ts-check
// Opens the folds that an address leads into, while the page is still being
// read: opened after the first paint, they would move what stands below.

{
  const readFragment = () => {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return ""; // a % that begins no byte, or bytes that are no text
    }
  };
  const id = readFragment();
  const unfold = () => {
    const target = document.getElementById(id);
    let fold = target?.closest("details");
    for (; fold; fold = fold.parentElement?.closest("details")) fold.open = true;
    if (target) observer.disconnect();
  };
  const observer = new MutationObserver(unfold);
  if (id) observer.observe(document, { childList: true, subtree: true });
}
