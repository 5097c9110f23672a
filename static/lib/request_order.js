// Tells new answers from old ones where requests overtake each other.

/**
 * The returned function is called when a request starts. It returns `isNewest()`, to be called once
 * with the answer: false when a later request has been answered already.
 */
export function requestOrder() {
  let started = 0;
  let answered = 0;
  return () => {
    const request = ++started;
    return () => {
      if (request <= answered) return false;
      answered = request;
      return true;
    };
  };
}
