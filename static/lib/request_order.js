// Which answers are news, where requests overtake each other.

/**
 * For questions that may be asked again before they are answered. It is called with each question;
 * what it gives back tells whether the answer is news: not older than one that was taken already.
 */
export function requestOrder() {
  let asked = 0;
  let taken = 0;
  return () => {
    const mine = ++asked;
    return () => mine > taken && Boolean((taken = mine));
  };
}
