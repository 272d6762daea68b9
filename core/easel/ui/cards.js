/* Models as cards (`easel.ui.cards`). The first of its tabs is what stands below this component; behind the others are
   the cards of a kind, one page of them. 'act' asks the service: {act, kind, words, page} is answered with the same and
   {page, cards}; {act: 'pick', title} is not. */
easel.cards = (element, props, trigger, watch) => {
  const one = (selector) => element.querySelector(selector);
  const panel = one('[role=tabpanel]'), search = one('[type=search]'), cards = one('[data-cards]');
  const patience = 5000; // ms until an answer counts as lost
  let kind, page = 0, number = 0, until = 0, next = null;
  const ask = (act) => { // one at a time: of two answers at once gradio tells the last only
    if (performance.now() < until) {
      next = next === 'refresh' ? next : act;
      return;
    }
    until = performance.now() + patience;
    next = null;
    number += 1; // no answer is like another
    trigger('act', { act, kind, words: search.value, page, number });
  };
  const show = (from) => {
    page = from;
    ask('show');
  };
  const open = (tab) => {
    if (tab.dataset.kind && tab.dataset.kind !== kind) {
      kind = tab.dataset.kind;
      search.value = '';
      cards.replaceChildren();
      if (!panel.hidden) show(0);
    }
    for (const each of element.querySelectorAll('[role=tab]')) each.setAttribute('aria-selected', String(each === tab));
    panel.hidden = !tab.dataset.kind;
  };
  element.addEventListener('click', (event) => {
    const button = event.target.closest('button'), { act, by, title } = button?.dataset ?? {};
    if (button?.matches('[role=tab]')) open(button);
    else if (by) show(Math.max(0, page + Number(by)));
    else if (title) trigger('act', { act, title });
    else if (act) ask(act);
  });
  search.addEventListener('input', () => show(0));
  watch('value', () => {
    until = 0;
    if (next) return ask(next);
    cards.innerHTML = props.value.cards;
    page = props.value.page;
  });
  new IntersectionObserver((entries) => {
    if (entries.at(-1).isIntersecting) show(page); // whenever it comes into view: there may be new models
  }).observe(panel);
};
