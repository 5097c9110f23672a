// Which names mean the same model to Ollama.

/** The canonical form of a model's name, as the server computes it (`model_name`). */
export function canonicalModel(name) {
  const [model, ...folders] = name
    .trim()
    .toLowerCase()
    .replace(/:latest$/, "")
    .replace(/^.*:\/\//, "")
    .split("/")
    .reverse();
  if (folders.length === 2 && folders[1] === "registry.ollama.ai") folders.pop();
  if (folders.length === 1 && folders[0] === "library") folders.pop();
  return [...folders.reverse(), model].join("/");
}
