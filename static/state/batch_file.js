// A file of tasks, looked at before it goes.

const REQUIRED_FIELDS = { chat: "messages", generate: "prompt", embed: "input" }; // what a task of each type must hold
const TYPES = Object.keys(REQUIRED_FIELDS);
const MAX_MISTAKES = 20;

/** {file, isLines, count, types, models, errors: [{at, message}], more}: what a file holds. */
export async function checkBatchFile(file) {
  const text = await file.text();
  const first = text.trimStart()[0];
  const found = { file, isLines: false, count: 0, types: {}, models: {}, errors: [], more: 0 };
  const whole =
    first === "[" || first === "{" ? tryParse(text) : { error: new Error("it is no JSON") };
  if ("value" in whole && (Array.isArray(whole.value) || Array.isArray(whole.value.tasks))) {
    (whole.value.tasks ?? whole.value).forEach((task, index) =>
      checkTask(found, task, `task ${index + 1}`),
    );
  } else {
    found.isLines = true;
    text.split("\n").forEach((line, index) => {
      if (!line.trim()) return;
      const { value, error } = tryParse(line);
      if (error) addMistake(found, `line ${index + 1}`, error.message);
      else checkTask(found, value, `line ${index + 1}`);
    });
  }
  if (!found.count && !found.errors.length) addMistake(found, "the file", "there is no task in it");
  return found;
}

function tryParse(text) {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error };
  }
}

/** Only what is surely wrong: the server looks at the rest, and takes all of them or none. */
function checkTask(found, task, at) {
  found.count++;
  if (task === null || typeof task !== "object" || Array.isArray(task))
    return addMistake(found, at, "a task must be a JSON object");
  if (!TYPES.includes(task.type))
    return addMistake(found, at, `type must be one of ${TYPES.join(", ")}`);
  if (typeof task.model !== "string" || !task.model.trim())
    return addMistake(found, at, "model is missing: name a model");
  const name = REQUIRED_FIELDS[task.type];
  if (!(name in task) && !(name in (task.payload ?? {})))
    return addMistake(found, at, `${name} is missing: a ${task.type} task needs it`);
  found.types[task.type] = (found.types[task.type] ?? 0) + 1;
  found.models[task.model] = (found.models[task.model] ?? 0) + 1;
}

function addMistake(found, at, message) {
  if (found.errors.length < MAX_MISTAKES) found.errors.push({ at, message });
  else found.more++;
}
