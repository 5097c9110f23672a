// Checks a file of tasks before it is sent.

const REQUIRED_FIELDS = { chat: "messages", generate: "prompt", embed: "input" }; // by type of task
const TYPES = Object.keys(REQUIRED_FIELDS);
const MAX_MISTAKES = 20;

/** {file, isLines, count, types, models, errors: [{at, message}], moreErrors} of a file. */
export async function checkBatchFile(file) {
  const text = await file.text();
  const first = text.trimStart()[0];
  const summary = {
    file,
    isLines: false,
    count: 0,
    types: {},
    models: {},
    errors: [],
    moreErrors: 0,
  };
  const parsed = first === "[" || first === "{" ? tryParse(text) : {};
  if ("value" in parsed && (Array.isArray(parsed.value) || Array.isArray(parsed.value.tasks))) {
    const tasks = parsed.value.tasks ?? parsed.value;
    for (const [index, task] of tasks.entries()) checkTask(summary, task, `task ${index + 1}`);
  } else {
    summary.isLines = true;
    for (const [index, line] of text.split("\n").entries()) {
      if (!line.trim()) continue;
      const { value, error } = tryParse(line);
      if (error) addMistake(summary, `line ${index + 1}`, error.message);
      else checkTask(summary, value, `line ${index + 1}`);
    }
  }
  if (!summary.count && !summary.errors.length)
    addMistake(summary, "the file", "it contains no tasks");
  return summary;
}

function tryParse(text) {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error };
  }
}

/** Finds certain mistakes only: the server checks the rest, and accepts all tasks or none. */
function checkTask(summary, task, at) {
  summary.count++;
  if (task === null || typeof task !== "object" || Array.isArray(task))
    return addMistake(summary, at, "a task must be a JSON object");
  if (!TYPES.includes(task.type))
    return addMistake(summary, at, `type must be one of ${TYPES.join(", ")}`);
  if (typeof task.model !== "string" || !task.model.trim())
    return addMistake(summary, at, "model is missing");
  const name = REQUIRED_FIELDS[task.type];
  if (!(name in task) && !(name in (task.payload ?? {})))
    return addMistake(summary, at, `${name} is missing: a ${task.type} task needs it`);
  summary.types[task.type] = (summary.types[task.type] ?? 0) + 1;
  summary.models[task.model] = (summary.models[task.model] ?? 0) + 1;
}

function addMistake(summary, at, message) {
  if (summary.errors.length < MAX_MISTAKES) summary.errors.push({ at, message });
  else summary.moreErrors++;
}
