// Show me: a trap and its recipe, in processes of their own, side by side.

export function setUpShow(recipe, box) {
  const [button, state] = box.querySelectorAll("button, [role=status]");
  const sides = { wrong: [], right: [] };
  for (const shown of box.querySelectorAll("[data-side]")) sides[shown.dataset.side].push(shown);

  function show({ error, side, at, printed, seconds }) {
    if (error) throw new Error(error);
    sides[side][at].textContent = `${printed || "(no output)"}\n– after ${seconds} s`;
  }

  async function play() {
    const url = `/recipes/${recipe.module}/traps/${box.dataset.name}`;
    const response = await fetch(url, { method: "POST" });
    if (!response.ok) throw new Error((await response.json()).error);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.filter(Boolean)) show(JSON.parse(line));
    }
  }

  button.onclick = async () => {
    const start = performance.now();
    const tell = () => (performance.now() - start) / 1000;
    const clock = setInterval(() => (state.textContent = `${tell().toFixed(1)} s`), 100);
    button.disabled = true;
    for (const hidden of box.querySelectorAll(".sides > [hidden]")) hidden.hidden = false;
    for (const shown of box.querySelectorAll("[data-side]")) shown.textContent = "…";
    const problem = await play().catch((error) => error.message);
    clearInterval(clock);
    state.textContent = problem ?? `shown in ${tell().toFixed(1)} s`;
    button.disabled = false;
  };
}
